from .in_flight import ProducerSettings as ProducerSettings
from .producer import ClickProducer as ClickProducer
from .producer import EventProducer as EventProducer
from .producer import ImpressionProducer as ImpressionProducer
