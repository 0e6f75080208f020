"""A working day of chains of pharmacies, over HTTP and from a seed: the same seed makes the same sequence.

names         people, pharmacies and companies, with the readings that belong to them
client        commands with idempotency keys, patient while the service is away
things        what is there, as far as the workload made it
sender        one tenant's commands, in the seed's sequence
chain         one tenant: founded, and then the things that happen in it
assets        its contracts, licenses, devices and seats
imports       a bulk import, and a transaction that stays open while others commit
oracle        what must have been true at random instants, and what counted on earlier days
story         the protagonist: what one user may do, moment by moment
run           several chains at once, and the figures at the end
__main__      the command line
"""
