from .explorer import StagewiseExplorer as StagewiseExplorer
from .monitor import TrainingMonitor as TrainingMonitor
from .playground import Playground as Playground
from .try_it import TryIt as TryIt
from .webcam import WebcamDemo as WebcamDemo
