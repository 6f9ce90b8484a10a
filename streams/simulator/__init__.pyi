from .log_writers import LogFormat as LogFormat
from .settings import SimulatorSettings as SimulatorSettings
from .simulate import Simulation as Simulation
from .simulate import simulate as simulate
