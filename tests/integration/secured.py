"""Real brokers that let nobody in without keys, certificates and passwords."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack import remoting
from devstack.cache import program
from devstack.mosquitto import Mosquitto
from devstack.ports import free_port
from devstack.rocketmq import BROKER_JVM_OPTIONS, NAME_SERVER_JVM_OPTIONS, PATIENT_BROKER, RocketMQ
from rocketmq_remoting import Credentials
from tests.certificates import Authority, Identity

__all__ = ["ADMIN", "BRIDGE", "SecuredMosquitto", "locked_rocketmq", "rocketmq_tls"]

# The broker wants more than six characters in each.
ADMIN = Credentials(access_key="admin-key-planted", secret_key="admin-secret-planted")
BRIDGE = Credentials(access_key="bridge-key-planted", secret_key="bridge-secret-planted")

_ACL = f"""\
accounts:
  - accessKey: {ADMIN.access_key}
    secretKey: {ADMIN.secret_key}
    admin: true
  - accessKey: {BRIDGE.access_key}
    secretKey: {BRIDGE.secret_key}
    admin: false
    defaultTopicPerm: DENY
    defaultGroupPerm: DENY
    topicPerms: [out=PUB, dead=PUB, into=SUB]
    groupPerms: [GID_mqbridge_into=SUB]
"""


def rocketmq_tls(directory: Path, authority: Authority, server: Identity) -> tuple[str, ...]:
    """Return the JVM options with which a name server or a broker speaks TLS only.

    A broker that does also speaks it to its name server (BrokerStartup), and verifies that by the same authority.
    """
    settings = {
        "tls.test.mode.enable": "false",
        "tls.server.keyPath": server.key_path,
        "tls.server.certPath": server.certificate_path,
        "tls.server.need.client.auth": "none",
        "tls.client.authServer": "true",
        "tls.client.trustCertPath": authority.path,
    }
    path = directory / f"{server.certificate_path.stem}.properties"
    path.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return ("-Dtls.server.mode=enforcing", f"-Dtls.config.file={path}")


def locked_rocketmq(directory: Path, authority: Authority) -> RocketMQ:
    """Return a cluster, not started, that speaks TLS only and checks signatures; BRIDGE may send to `out` and read `into`."""
    directory.mkdir(parents=True, exist_ok=True)
    options = rocketmq_tls(directory, authority, authority.issue("127.0.0.1"))
    cluster = RocketMQ(
        directory,
        broker_config={"aclEnable": "true", **PATIENT_BROKER},
        name_server_jvm_options=(*NAME_SERVER_JVM_OPTIONS, *options),
        broker_jvm_options=(*BROKER_JVM_OPTIONS, *options),
        credentials=remoting.Credentials(access_key=ADMIN.access_key, secret_key=ADMIN.secret_key),
        tls=authority.context(),
    )
    (cluster.home / "conf" / "acl").mkdir(parents=True)  # 4.9.7 does not start without it
    (cluster.home / "conf" / "plain_acl.yml").write_text(_ACL)
    return cluster


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuredMosquitto:
    """A mosquitto with a listener for TLS and one for mutual TLS; nobody comes in without a password."""

    broker: Mosquitto
    tls: str
    mutual_tls: str

    @classmethod
    def made(
        cls, directory: Path, authority: Authority, server: Identity, passwords: Mapping[str, str]
    ) -> "SecuredMosquitto":
        """Return one that is not started."""
        directory.mkdir(parents=True, exist_ok=True)
        password_file = directory / "passwords"
        password_file.touch(mode=0o600)
        for user, password in passwords.items():
            command = (program("mosquitto_passwd"), "-b", str(password_file), user, password)
            subprocess.run(command, check=True, capture_output=True)
        ports = free_port(), free_port()
        lines = ["allow_anonymous false", f"password_file {password_file}"]
        for port, is_mutual in zip(ports, ("false", "true"), strict=True):
            lines += [
                f"listener {port} 127.0.0.1",
                f"cafile {authority.path}",
                f"certfile {server.certificate_path}",
                f"keyfile {server.key_path}",
                f"require_certificate {is_mutual}",
            ]
        broker = Mosquitto(directory, extra_config="\n".join(lines))
        return cls(broker=broker, tls=f"mqtts://127.0.0.1:{ports[0]}", mutual_tls=f"mqtts://127.0.0.1:{ports[1]}")
