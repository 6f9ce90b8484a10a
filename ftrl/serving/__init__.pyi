from .grouped import GroupedKeys as GroupedKeys
from .grouped import GroupedServingTable as GroupedServingTable
from .grouped import grouped_keys as grouped_keys
from .table import Served as Served
from .table import ServingTable as ServingTable
from .table import serving_weights as serving_weights
