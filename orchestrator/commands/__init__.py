"""What is typed besides `serve` and `demo`, one module a command. Each adds its arguments and gives an exit status."""
