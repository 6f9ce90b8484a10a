from .in_flight import ProducerSettings as ProducerSettings
from .producer import ClickProducer as ClickProducer
from .producer import ImpressionProducer as ImpressionProducer
from .producer import Producer as Producer
