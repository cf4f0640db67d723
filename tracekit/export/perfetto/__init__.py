"""The whole session as a trace of Perfetto: https://perfetto.dev/docs/reference/trace-packet-proto."""
