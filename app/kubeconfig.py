"""What kubectl needs to know of a Drover."""

from __future__ import annotations

from base64 import b64encode

_TEXT = """\
apiVersion: v1
kind: Config
clusters:
- name: drover
  cluster: {{server: "{server}"{trust}}}
contexts:
- name: drover
  context: {{cluster: drover, user: drover, namespace: default}}
current-context: drover
users:
- name: drover
  user: {{{user}}}
"""


def kubeconfig_of(server: str, authority: str = "") -> str:
    """For https with the PEM text that it is trusted by; without that kubectl asks its system."""
    secure = server.startswith("https:")
    trust = f', certificate-authority-data: "{b64encode(authority.encode()).decode()}"' if secure and authority else ""
    # Over TLS kubectl asks the person for a name and a password unless it finds a credential, and other clients refuse
    # a file with a name. Nobody reads the token.
    return _TEXT.format(server=server, trust=trust, user="token: drover" if secure else "")
