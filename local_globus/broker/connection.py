"""One client's TCP connection: handshake, heartbeats, channels, and a brake on what it is sent."""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Callable

from pika import frame, spec
from pika.exceptions import AMQPError
from typing_extensions import override

from local_globus.broker import wire
from local_globus.broker.channel import Channel
from local_globus.broker.errors import ChannelFault, ConnectionFault, Fault
from local_globus.broker.host import VirtualHost
from local_globus.broker.permissions import Accounts, Permissions
from local_globus.broker.wire import Content, Frame, Method

logger = logging.getLogger(__name__)

_HANDSHAKE_S = 10.0
_FAREWELL_S = 1.0
_HEARTBEAT_S = 60
_CHANNEL_MAX = 2047
_FRAME_MIN = 4096
#: Deliveries pause when this much waits to be sent to one client (bytes).
_WRITE_BUFFER = 1024 * 1024
_CAPABILITIES = {
    "authentication_failure_close": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "publisher_confirms": True,
}


class Connection(asyncio.Protocol):
    """Reads frames, carries them out, and answers faults as the protocol says."""

    def __init__(
        self, host: VirtualHost, accounts: Accounts, ended: Callable[[Connection], None]
    ) -> None:
        self.permissions = Permissions()
        self.writable = True
        self._host = host
        self._accounts = accounts
        self._ended = ended
        self._reader = wire.FrameReader()
        self._channels: dict[int, Channel | None] = {}
        self._greeting = b""
        self._authenticated = False
        self._closing = False
        self._frame_max = wire.FRAME_MAX
        self._heartbeat_s = 0
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._handlers: dict[type, Callable[[Method], None]] = {
            spec.Connection.StartOk: self._start_ok,
            spec.Connection.TuneOk: self._tune_ok,
            spec.Connection.Open: self._open,
            spec.Connection.Close: self._close_asked,
        }

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the client has to log in within a few seconds."""
        if not isinstance(transport, asyncio.Transport):
            message = "The broker listens on stream sockets only"
            raise TypeError(message)
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        self._set_timer(_HANDSHAKE_S, self.abort)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """End: give back what the client has not settled."""
        self.writable = False
        if self._timer is not None:
            self._timer.cancel()
        self._drop_channels()
        self._ended(self)

    @override
    def pause_writing(self) -> None:
        """Stop deliveries: the client does not read fast enough."""
        self.writable = False

    @override
    def resume_writing(self) -> None:
        """Go on with deliveries."""
        self.writable = True
        for channel in self._channels.values():
            if channel is not None:
                channel.resume()

    @override
    def data_received(self, data: bytes) -> None:
        """Carry out the frames that have arrived completely."""
        self._heard_at = self._loop.time()
        try:
            for received in self._reader.feed(self._greeted(data)):
                self._dispatch(received)
        except ConnectionFault as fault:
            self.close(fault)
        except (AMQPError, ValueError, LookupError, struct.error) as error:
            logger.warning("amqp_undecodable", extra={"error": str(error)})
            self.close(ConnectionFault(502, "SYNTAX_ERROR - the frame cannot be decoded"))

    def send(self, channel: int, method: Method) -> None:
        """Send a method."""
        self._write(wire.method(channel, method))

    def send_message(self, channel: int, method: Method, message: Content) -> None:
        """Send a method that carries properties and a body."""
        properties, body = message
        rest = wire.content(channel, properties, body, self._frame_max)
        self._write(wire.method(channel, method) + rest)

    def close(self, fault: Fault) -> None:
        """Close the connection from this side and say why."""
        if not self._closing:
            logger.info("amqp_connection_closed", extra={"fault": str(fault)})
            self._closing = True
            self._drop_channels()
            self.send(0, spec.Connection.Close(fault.code, fault.text, 0, 0))
            # Closing the socket before the client has read this could make it read nothing.
            self._set_timer(_FAREWELL_S, self.abort)

    def abort(self) -> None:
        """Drop the connection without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _greeted(self, data: bytes) -> bytes:
        missing = len(wire.PROTOCOL_HEADER) - len(self._greeting)
        if not missing:
            return data
        self._greeting += data[:missing]
        if len(self._greeting) < len(wire.PROTOCOL_HEADER):
            return b""
        if self._greeting != wire.PROTOCOL_HEADER:
            self._write(wire.PROTOCOL_HEADER)
            self._end()
            return b""
        properties = {"product": "local_globus", "capabilities": _CAPABILITIES}
        start = spec.Connection.Start(
            server_properties=properties, mechanisms="PLAIN", locales="en_US"
        )
        self.send(0, start)
        return data[missing:]

    def _dispatch(self, received: Frame) -> None:
        method = getattr(received, "method", None)
        if self._closing:
            if isinstance(method, spec.Connection.CloseOk):
                self._end()
            return
        number = received.channel_number
        if isinstance(received, frame.Heartbeat):
            return
        if number == 0:
            self._handle(received.method)
        elif not self._authenticated:
            raise ConnectionFault(503, "COMMAND_INVALID - log in first")
        elif isinstance(method, spec.Channel.Open):
            self._open_channel(number)
        else:
            self._on_channel(number, received)

    def _handle(self, method: Method) -> None:
        handler = self._handlers.get(type(method))
        if handler is None:
            raise ConnectionFault(503, f"COMMAND_INVALID - {method.NAME}")
        handler(method)

    def _open_channel(self, number: int) -> None:
        if number in self._channels:
            raise ConnectionFault(504, "CHANNEL_ERROR - the channel is open already")
        self._channels[number] = Channel(number, self, self._host)
        self.send(number, spec.Channel.OpenOk())

    def _on_channel(self, number: int, received: Frame) -> None:
        channel = self._channels.get(number)
        method = getattr(received, "method", None)
        if isinstance(method, spec.Channel.Close | spec.Channel.CloseOk):
            self._channels.pop(number, None)
            if channel is not None:
                channel.close()
            if isinstance(method, spec.Channel.Close):
                self.send(number, spec.Channel.CloseOk())
        elif channel is not None:
            self._on_open_channel(number, channel, received)
        elif number not in self._channels:
            raise ConnectionFault(504, "CHANNEL_ERROR - the channel is not open")

    def _on_open_channel(self, number: int, channel: Channel, received: Frame) -> None:
        try:
            if isinstance(received, frame.Header):
                channel.header(received.body_size, received.properties)
            elif isinstance(received, frame.Body):
                channel.body(received.fragment)
            else:
                channel.handle(received.method)
        except ChannelFault as fault:
            logger.info("amqp_channel_closed", extra={"fault": str(fault)})
            # What the client sent before it learns of this is ignored until its close-ok.
            self._channels[number] = None
            channel.close()
            self.send(number, spec.Channel.Close(fault.code, fault.text, 0, 0))

    def _start_ok(self, method: Method) -> None:
        response = method.response
        plain = response if isinstance(response, bytes) else response.encode()
        _, user, password = plain.split(b"\0", 2)
        permissions = self._accounts.permissions(user.decode(), password.decode())
        if permissions is None:
            raise ConnectionFault(403, "ACCESS_REFUSED - Login was refused")
        self.permissions = permissions
        self._authenticated = True
        self.send(0, spec.Connection.Tune(_CHANNEL_MAX, wire.FRAME_MAX, _HEARTBEAT_S))

    def _tune_ok(self, method: Method) -> None:
        wanted = method.frame_max or wire.FRAME_MAX
        self._frame_max = max(_FRAME_MIN, min(wanted, wire.FRAME_MAX))
        self._heartbeat_s = method.heartbeat

    def _open(self, method: Method) -> None:
        if not self._authenticated:
            raise ConnectionFault(503, "COMMAND_INVALID - log in first")
        self.send(0, spec.Connection.OpenOk())
        if self._heartbeat_s:
            self._beat()
        elif self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        if self._loop.time() - self._heard_at > 2 * self._heartbeat_s:
            logger.warning("amqp_heartbeat_missed")
            self.abort()
            return
        self._write(wire.heartbeat())
        self._set_timer(self._heartbeat_s / 2, self._beat)

    def _close_asked(self, method: Method) -> None:
        self._drop_channels()
        self.send(0, spec.Connection.CloseOk())
        self._end()

    def _end(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, action)

    def _drop_channels(self) -> None:
        channels = [channel for channel in self._channels.values() if channel is not None]
        self._channels.clear()
        for channel in channels:
            channel.close()
