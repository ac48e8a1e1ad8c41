"""Verifies an assertion of SAML (in base64, on standard input) with PUBLIC_KEY (PEM): the canonical form is Python's, the signature
cryptography's. Prints what it says as JSON."""

import hashlib
import json
import os
import sys
from base64 import b64decode
from xml.etree import ElementTree

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

DS, SAML = "http://www.w3.org/2000/09/xmldsig#", "urn:oasis:names:tc:SAML:2.0:assertion"
ElementTree.register_namespace("ds", DS)

text = b64decode(sys.stdin.read().strip()).decode()
assertion = ElementTree.fromstring(text)
names = {"ds": DS, "s": SAML}


def found(path, attribute=None):
    element = assertion.find(path, names)
    return None if element is None else element.get(attribute) if attribute else element.text


signed = ElementTree.canonicalize(text, exclude_tags=[f"{{{DS}}}Signature"])
digest = hashlib.sha256(signed.encode()).digest()
assert digest == b64decode(found(".//ds:DigestValue")), "the digest is another one"
assert found(".//ds:Reference", "URI") == "#" + assertion.get("ID")
info = ElementTree.tostring(assertion.find(".//ds:SignedInfo", names), encoding="unicode")
key = load_pem_public_key(os.environ["PUBLIC_KEY"].encode())
key.verify(b64decode(found(".//ds:SignatureValue")), ElementTree.canonicalize(info).encode(), PKCS1v15(), SHA256())

attributes = {
    attribute.get("Name"): [value.text for value in attribute.findall("s:AttributeValue", names)]
    for attribute in assertion.findall(".//s:Attribute", names)
}
print(json.dumps({
    "issuer": found("s:Issuer"),
    "name": found("s:Subject/s:NameID"),
    "recipient": found(".//s:SubjectConfirmationData", "Recipient"),
    "audiences": [audience.text for audience in assertion.findall(".//s:Audience", names)],
    "attributes": attributes,
    "before": found("s:Conditions", "NotBefore"),
    "until": found("s:Conditions", "NotOnOrAfter"),
    "has_session": bool(found("s:AuthnStatement", "SessionIndex")),
    "certificate": found(".//ds:X509Certificate"),
}))
