"""Makes the compose file's certificates, once: `certificates.py /pki host0 host1`.

Two authorities: one for the API and its users, one for libvirt's hosts and who may call them.
"""

import os
import sys
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

A_YEAR = timedelta(days=365)
KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters:
- name: drover
  cluster: {{server: "https://127.0.0.1:8443", certificate-authority-data: "{ca}"}}
contexts:
- name: drover
  context: {{cluster: drover, user: admin, namespace: default}}
current-context: drover
users:
- name: admin
  user: {{client-certificate-data: "{certificate}", client-key-data: "{key}"}}
"""


class Authority:
    def __init__(self, name: str) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        builder = _builder(self.name, self.name, self.key)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.certificate = builder.add_extension(_usage(signs=True), critical=True).sign(self.key, hashes.SHA256())

    def pair(self, folder: Path, file: str, name: x509.Name, hosts: tuple[str, ...] = ()) -> None:
        """`<file>.pem` and `<file>-key.pem`: a server's, where it names hosts, and a client's."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(self.name, name, key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName([_host(h) for h in hosts]), critical=False)
        write(folder / f"{file}.pem", pem(builder.sign(self.key, hashes.SHA256())))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write(folder / f"{file}-key.pem", secret)


def _builder(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().issuer_name(issuer).subject_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + A_YEAR)


def _name(common: str, *organizations: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, each) for each in organizations]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_encipherment=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def write(path: Path, content: bytes) -> None:
    """Keys for their owner alone."""
    mode = 0o600 if path.name.endswith(("-key.pem", "clientkey.pem", "kubeconfig")) else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def main(root: Path, hosts: list[str]) -> int:
    done = root / "api" / "kubeconfig"
    if done.exists():
        print("certificates are there")
        return 0
    fleet, api = Authority("drover-hosts"), Authority("drover-api")
    for host in hosts:
        write(root / host / "ca.pem", pem(fleet.certificate))
        fleet.pair(root / host, "host", _name(host), (host,))
    # libvirt's names, for `pkipath`.
    write(root / "drover" / "cacert.pem", pem(fleet.certificate))
    fleet.pair(root / "drover", "client", _name("drover"))
    (root / "drover" / "client.pem").rename(root / "drover" / "clientcert.pem")
    (root / "drover" / "client-key.pem").rename(root / "drover" / "clientkey.pem")
    folder = root / "api"
    write(folder / "ca.pem", pem(api.certificate))
    api.pair(folder, "server", _name("drover"), ("api0", "api1", "localhost", "127.0.0.1"))
    api.pair(folder, "admin", _name("admin", "system:masters"))
    files = {"ca": "ca.pem", "certificate": "admin.pem", "key": "admin-key.pem"}
    encoded = {name: b64encode((folder / file).read_bytes()).decode() for name, file in files.items()}
    write(done, KUBECONFIG.format(**encoded).encode())
    print(f"certificates for {', '.join(hosts)}, the workers, the API and its administrator")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
