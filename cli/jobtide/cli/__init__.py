"""The `jobtide` command line: thin click commands over the layers below, and the supervisor behind `jobtide up`.

Not here: anything that counts, stores or answers. Arguments and the environment come in; processes
and text go out.
"""
