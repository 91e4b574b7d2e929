"""The servers `jobtide up` runs on one machine without Docker: Apache Kafka, Valkey, or the in-memory broker.

Not a cluster manager: one process of each kind, loopback only, one data directory. The supervisor and the test suite
start them through the same code.
"""
