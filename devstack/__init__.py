"""A real mosquitto and a real RocketMQ on this machine, for demos and tests.

The face of this room is its modules: `mosquitto.Mosquitto`, `rocketmq.RocketMQ`, `javatool.consume` and `produce`,
`processes.recorded_processes`, `setup.ensure`. They are not gathered here, because `python -m devstack.setup` runs
before every make target that needs servers and would have to import them all.

Nothing here is imported by mqbridge, and nothing of mqbridge is imported here: tests must not prepare their world
with the code under test. The servers keep all their files in the directory that they are given.
"""
