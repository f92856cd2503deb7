"""What a support bundle contains: facts of one machine and of the logs, without any secret."""
