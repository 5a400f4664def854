"""A client of the Globus Compute web service, for those of a site's programs that call it."""

from __future__ import annotations

import globus_sdk
from globus_compute_sdk import Client
from globus_compute_sdk.serialize import JSONData, PureSourceTextInspect

from compute_functions.globus_client import GlobusClient


def connect(identity: GlobusClient, *, name: str) -> Client:
    """Return a client of the service that sends function texts and JSON, nothing pickled.

    It keeps its token to itself: the SDK's own choice is a database in the home directory.
    """
    config = globus_sdk.GlobusAppConfig(token_storage="memory")  # noqa: S106 # a kind of storage
    app = globus_sdk.ClientApp(
        name, client_id=identity.id, client_secret=identity.secret, config=config
    )
    return Client(
        app=app,
        code_serialization_strategy=PureSourceTextInspect(),
        data_serialization_strategy=JSONData(),  # type: ignore[no-untyped-call]
    )
