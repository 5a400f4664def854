"""Streams made of whole answers, for sites that can only give an answer when it is finished."""

from resource_server.adapters.whole_streams.asking import asking
from resource_server.adapters.whole_streams.maker import WholeStreamMaker
from resource_server.adapters.whole_streams.stream import MARK, WholeStream

__all__ = ["MARK", "WholeStream", "WholeStreamMaker", "asking"]
