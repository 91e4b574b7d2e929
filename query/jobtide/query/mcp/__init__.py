"""The API for assistants: a Model Context Protocol server whose tools only read.

`tools` says what there is, over anything that can ask the API; `mounted` puts it on the API's own port; `jobtide mcp`
speaks it over standard input and output. Needs the extra `jobtide[mcp]`.
"""
