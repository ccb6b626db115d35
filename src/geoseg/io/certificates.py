"""Certificates for a Dask cluster: an authority of its own, and one each for who takes part.

Whoever has one of these certificates can run anything on the workers, so the authority's key is not
kept: nobody can issue a fourth one. For a new cluster, or when these run out, make a new folder.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from geoseg.errors import OutputError
from geoseg.io import files

ROLES = ("scheduler", "worker", "client")
THIS_MACHINE = ("localhost", "127.0.0.1")
_CLOCKS = timedelta(hours=1)
"""How far behind the clock of another machine may be."""


@dataclass(frozen=True, slots=True)
class CertificateFolder:
    """Where the files of a cluster lie, all PEM."""

    root: Path

    @property
    def authority(self) -> Path:
        """Certificate of the authority, for everybody."""
        return self.root / "ca.pem"

    def certificate(self, role: str) -> Path:
        """Certificate of a role, for use as client and as server."""
        return self.root / f"{role}.pem"

    def key(self, role: str) -> Path:
        """Its private key; readable by its owner alone."""
        return self.root / f"{role}.key"

    @property
    def files(self) -> tuple[Path, ...]:
        """All of them."""
        pairs = (path for role in ROLES for path in (self.certificate(role), self.key(role)))
        return (self.authority, *pairs)


@dataclass(frozen=True, slots=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make_certificates(folder: Path, hosts: Sequence[str], days: int) -> CertificateFolder:
    """Make an authority and the certificates of all roles, valid for ``hosts`` and this machine.

    Raises ``OutputError`` where one of the files is there already: whoever uses it would be cut off.
    """
    made = CertificateFolder(folder)
    there = next((path for path in made.files if path.exists()), None)
    if there:
        raise OutputError(
            f"{there} is there already and may be in use; name another folder, or remove this one "
            "and start scheduler, workers and runs again with the new files"
        )
    files.make_folder(folder)
    ends = datetime.now(UTC) + timedelta(days=days)
    authority = _authority(ends)
    for role in ROLES:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _issue(authority, role, key, (*THIS_MACHINE, *hosts), ends)
        _write(made.key(role), _key_text(key), 0o600)
        _write(made.certificate(role), _text(certificate), 0o644)
    _write(made.authority, _text(authority.certificate), 0o644)
    return made


def _authority(ends: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("geoseg cluster authority")
    usage = _usage(digital_signature=False, key_cert_sign=True)
    certificate = (
        _builder(name, name, key.public_key(), ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Authority(key, certificate)


def _issue(
    authority: _Authority,
    role: str,
    key: ec.EllipticCurvePrivateKey,
    hosts: Sequence[str],
    ends: datetime,
) -> x509.Certificate:
    # Dask workers call each other and the scheduler: everybody is client and server.
    both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    issuer = authority.certificate.subject
    of_authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return (
        _builder(_name(f"geoseg {role}"), issuer, key.public_key(), ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True, key_cert_sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(of_authority, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - _CLOCKS)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(digital_signature: bool, key_cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    return [_host(host) for host in dict.fromkeys(hosts)]


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _text(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_text(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    with files.replacing(path) as part:
        # Made with its mode: between writing and a later chmod anybody could open it.
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with open(handle, "wb") as target:
            target.write(content)
