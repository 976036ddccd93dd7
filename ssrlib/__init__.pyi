from .estimator import AgeGenderEstimator as AgeGenderEstimator
from .network import SSRNet as SSRNet
from .network import soft_stagewise_regression as soft_stagewise_regression
from .recipe import Recipe as Recipe
from .store import FaceStore as FaceStore
from .training import fit as fit
from .training import new_network as new_network
from .training import start_from as start_from

FACE_SIZE: int
