"""The shape of `oauth2:` of a system."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from trueup.config.schema_base import Duration, Names, Shape, Text


class OAuth2Shape(Shape):
    """How trueup is given access (OAuth 2.0), where a connector file does not say it already; `trueup connect` does the rest."""

    grant: Literal["authorization_code", "device_code", "client_credentials", "jwt_bearer"] | None = Field(
        None,
        description="authorization_code: a person agrees in a browser; device_code: a person types a code in elsewhere;"
        " client_credentials and jwt_bearer (a service account with a key): nobody is asked. Left out: authorization_code.",
    )
    authorize_url: Text | None = Field(
        None, description="The page on which a person agrees.", examples=["https://login.example.com/authorize"]
    )
    token_url: Text | None = Field(None, description="Where tokens are given.", examples=["https://login.example.com/token"])
    device_url: Text | None = Field(None, description="Where device codes are given.", examples=["https://login.example.com/device"])
    revoke_url: Text | None = Field(
        None, description="Where tokens are given back (`trueup connect SYSTEM --forget`).", examples=["https://login.example.com/revoke"]
    )
    client_id: Text | None = Field(None, description="The id of your application, as registered there.", examples=["${CRM_CLIENT_ID}"])
    client_secret: Text | None = Field(
        None, description="Its secret; left out where it has none.", examples=["${secret:CRM_CLIENT_SECRET}"]
    )
    client_auth: Literal["basic", "post", "none"] | None = Field(
        None, description="Where the secret is shown: in a header or in the body; left out: basic, or none without a secret."
    )
    private_key: Text | None = Field(
        None, description="The key with which jwt_bearer signs: PEM, with line ends or `\\n`.", examples=["${secret:CRM_KEY}"]
    )
    key_id: Text | None = Field(None, description="The name of that key, where the server wants to know it (`kid`).")
    subject: Text | None = Field(
        None, description="On whose behalf jwt_bearer asks (`sub`); left out: for itself, as Google has it; others want it."
    )
    audience: Text | None = Field(None, description="Whom jwt_bearer asks (`aud`); left out: the token_url.")
    scopes: Names | None = Field(None, description="What trueup asks for.", examples=[["contacts.read", "contacts.write"]])
    optional_scopes: Names | None = Field(None, description="What trueup asks for and can do without.", examples=[["offline_access"]])
    scope_separator: str | None = Field(None, description="What stands between scopes; left out: a blank.", examples=[","])
    params: dict[str, Text] | None = Field(
        None, description="More parameters of each question.", examples=[{"audience": "https://api.example.com"}]
    )
    redirect_port: int | None = Field(
        None, ge=1, le=65_535, description="The port that is registered for the answer; left out: any free one.", examples=[8765]
    )
    redirect_path: Text | None = Field(None, description="The path that is registered for the answer; left out: /.", examples=["/callback"])
    redirect_host: Literal["127.0.0.1", "::1", "localhost"] | None = Field(
        None, description="The name of this machine that is registered for the answer; left out: 127.0.0.1."
    )
    keep: Names | None = Field(None, description="Members of the answer that the connector needs.", examples=[["instance_url"]])
    lifetime: Duration | None = Field(None, description="How long a token serves, where the server does not say.", examples=["1h"])
