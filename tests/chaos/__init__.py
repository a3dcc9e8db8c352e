"""Many jobs over backends that fail at random, and a service that is killed: what was accepted must end truly, once."""
