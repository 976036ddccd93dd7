// The browser's camera: permission, what is in its way, start and stop, and a tab in the background.

import { say } from "./dom.js";

const HIDDEN = "Paused while this tab is in the background.";
const ASKING = "The browser asks whether this page may use the camera.";

/**
 * @typedef {object} Use of the camera
 * @property {HTMLVideoElement} video shows it
 * @property {HTMLElement} message tells what is in its way
 * @property {string} again what to do to have it once more, such as "press Start"
 * @property {string} instead what else one can do, such as "drop a photo here"
 * @property {() => void} onFrame is called for each of its pictures
 * @property {(reason: string) => void} onGone is called when it has gone by itself
 */

export class Camera {
  /** @param {Use} use */
  constructor(use) {
    this.use = use;
    /** @type {MediaStream | null} */
    this.stream = null;
  }

  /**
   * Ask for a camera and show it, or say what is in the way. Return whether it is there.
   * @param {MediaTrackConstraints} which
   * @param {() => boolean} wanted whether it still is, once the browser has it: this may take long
   */
  async open(which, wanted) {
    const { again, instead, message, onGone, video } = this.use;
    if (!navigator.mediaDevices) {
      say(
        message,
        `Browsers show the camera only to pages from this machine or over https. Instead, ${instead}.`,
      );
      return false;
    }
    if (!("requestVideoFrameCallback" in video)) {
      say(message, `This browser is too old to read the camera\u2019s pictures. Instead, ${instead}.`);
      return false;
    }
    say(message, ASKING);
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...size, ...which } });
    } catch (error) {
      if (wanted()) say(message, reason(/** @type {DOMException} */ (error), again, instead));
      return false;
    }
    if (!wanted()) {
      endTracks(stream);
      return false;
    }
    this.close();
    this.stream = stream;
    stream.getVideoTracks()[0].addEventListener("ended", () => {
      if (stream === this.stream) {
        onGone(`The camera has gone. Connect it again and ${again}, or ${instead}.`);
      }
    });
    video.srcObject = stream;
    video.play().catch(() => {});
    this.follow(stream);
    return true;
  }

  /**
   * Tell of each picture, until this camera is closed.
   * @param {MediaStream} stream
   */
  follow(stream) {
    this.use.video.requestVideoFrameCallback(() => {
      if (stream !== this.stream) return;
      this.use.onFrame();
      this.follow(stream);
    });
  }

  close() {
    endTracks(this.stream);
    this.stream = this.use.video.srcObject = null;
  }
}

/** @param {MediaStream | null} stream */
function endTracks(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Say why there is no camera, and what to do.
 * @param {DOMException} error
 * @param {string} again
 * @param {string} instead
 */
function reason({ name, message }, again, instead) {
  /** @type {Record<string, string>} */
  const known = {
    NotFoundError: `No camera was found. Connect one and ${again}, or ${instead}.`,
    NotAllowedError: "The browser was told not to show the camera to this page. " +
      `Allow it at the address bar and ${again}, or ${instead}.`,
    NotReadableError:
      `The camera is taken by another program. Close that program and ${again}, or ${instead}.`,
    OverconstrainedError: `The chosen camera has gone. To take another one ${again}, or ${instead}.`,
  };
  return known[name] ?? `The camera could not be opened: ${message}`;
}

/**
 * Say so while the tab is in the background, where nothing is read; return how to end that.
 * @param {HTMLElement} message
 * @param {() => boolean} running
 * @param {() => void} goOn
 */
export function watchTab(message, running, goOn) {
  const look = () => {
    if (!running()) return;
    if (document.hidden) return say(message, HIDDEN);
    if (message.textContent === HIDDEN) say(message, "");
    goOn();
  };
  document.addEventListener("visibilitychange", look);
  return () => document.removeEventListener("visibilitychange", look);
}
