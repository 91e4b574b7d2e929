"""The checkpoint of a source partition: one Kafka record batch a flush, whole or absent, written by one owner at a time."""
