"""An RTSP camera: GStreamer's server with a moving picture, ten frames a second, about 0.6 Mbit/s.

Run by the interpreter of the system, for which Debian has the bindings: python3-gi, gir1.2-gst-rtsp-server-1.0,
gstreamer1.0-plugins-good. Prints the port that it listens on.
"""

import gi  # type: ignore[import-not-found,unused-ignore]  # not in the environment of the tests

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found,unused-ignore]  # noqa: E402

PICTURE = (
    "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=480,framerate=10/1"
    " ! jpegenc quality=40 ! rtpjpegpay name=pay0 pt=26 )"
)


def main() -> None:
    """Serve ``/camera`` until killed."""
    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PICTURE)
    server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
    server.get_mount_points().add_factory("/camera", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
