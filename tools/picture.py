"""Draw the picture at the top of the README: python tools/picture.py"""

from pathlib import Path

from skimage import data

from ssrlib import AgeGenderEstimator, faces, plots

if __name__ == "__main__":
    photo = data.astronaut()  # NASA's portrait of Eileen Collins, public domain
    readings = AgeGenderEstimator().faces(photo)
    figure = plots.photo_with_faces(photo, readings, faces.crop(photo, readings[0].box))
    Path("book/images").mkdir(exist_ok=True)
    figure.savefig("book/images/readme.png", dpi=110)
