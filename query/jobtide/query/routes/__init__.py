"""The API's routes, one module per noun: parameters in, one question, rows out. Which store answers is decided in
`sources`.
"""
