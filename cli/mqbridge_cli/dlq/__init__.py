"""mqbridge dlq: look at dead letters, and send them on their way again."""
