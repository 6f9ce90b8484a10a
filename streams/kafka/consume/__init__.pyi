from .app import App as App
from .app import chunks as chunks
from .app import create_app as create_app
from .app import run as run
from .labelled import entry_of as entry_of
from .labelled import message_location as message_location
from .range_reader import RangeReader as RangeReader
from .range_reader import range_reader as range_reader
