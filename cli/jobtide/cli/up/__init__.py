"""`jobtide up`: which processes one machine needs (`plan`), where they keep things (`data`), and keeping them running
(`supervisor`). The parent process stays small: it imports neither Kafka clients nor web servers.
"""
