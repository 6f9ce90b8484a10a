from .clock_guard import OFF as OFF
from .clock_guard import GuardSettings as GuardSettings
from .logs import Log as Log
from .logs import open_log as open_log
