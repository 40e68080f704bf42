"""The same stack in containers: `python -m local.compose` writes docker-compose.yml and what is in deploy/compose/.

containers.py  the addresses there, and which containers run our own code: those that the local stack has as programs
document.py    docker-compose.yml, from template.yml
files.py       the settings of PostgreSQL, Redis, Kafka, Connect and nginx, from the local programs' code; secrets.sh
"""
