from .bucketed import BucketedKeys as BucketedKeys
from .bucketed import BucketedServingTable as BucketedServingTable
from .bucketed import bucketed_keys as bucketed_keys
from .table import ServedWeights as ServedWeights
from .table import ServingTable as ServingTable
from .table import serving_weights as serving_weights
