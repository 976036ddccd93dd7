"""Which head is best? Seventeen ways to read an age, trained alike on UTKFace with three seeds each.

    python -m tools.experiments.contest --start ssrlib/pretrained/utkface/gender.safetensors --jobs 2

trains them; see race.py for how. All start with the two streams of a network that learned gender and has
never been told an age: on two cores that saves epochs for all alike. Then, once, when nothing is left to
choose, the same with --test. Writes book/results/contest.json.

Not everything is neutral: the streams learned gender under SSR-Net's own head, rate and augmentation are
those that suit SSR-Net, and its size leaves 101 classes six hidden values.
"""

from ssrlib.heads import CONTEST, contestant
from tools.experiments import race

# The head as it was published: what the book added to it runs like everybody else.
HEADS = race.Race(CONTEST, contestant, rival="SSR, plain ReLUs")

if __name__ == "__main__":
    race.run(HEADS, "contest", __doc__)
