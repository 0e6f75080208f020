"""A working day of chains of pharmacies, over HTTP and from a seed: the same seed makes the same sequence.

names         people, pharmacies and companies, with the readings that belong to them
client        commands with idempotency keys, patient while the service is away
things        what is there, as far as the workload made it
sender        one tenant's commands, in the seed's sequence
chain         one tenant: founded, and then the things that happen in it
story         the protagonist: what one user may do, moment by moment
run           several chains at once, and the figures at the end
__main__      the command line
"""
