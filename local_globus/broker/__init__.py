"""An AMQP 0-9-1 broker: the part of the protocol that Globus Compute uses, on asyncio."""

from local_globus.broker.permissions import EVERYTHING, Accounts, Permissions
from local_globus.broker.server import Broker

__all__ = ["EVERYTHING", "Accounts", "Broker", "Permissions"]
