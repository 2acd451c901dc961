"""Says in a picture's metadata that a trained model made it.

The IPTC photo metadata standard names such pictures by the digital source type
`trainedAlgorithmicMedia` (https://cv.iptc.org/newscodes/digitalsourcetype/); platforms and image
viewers read it from the XMP packet.
"""

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from ganjax import __version__

_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = f"{_TERMS}trainedAlgorithmicMedia"
COMPOSITE = f"{_TERMS}compositeWithTrainedAlgorithmicMedia"


def provenance(*, source_type: str = SOURCE_TYPE, **details: object) -> dict[str, str]:
    """The metadata of a generated picture.

    Args:
      source_type: `SOURCE_TYPE`, or `COMPOSITE` for a picture that a model changed.
      details: what else is known, e.g. seed=0, checkpoint="step 3125 1f2e3d4c".
    """
    texts = {name.capitalize(): str(value) for name, value in details.items()}
    return {"DigitalSourceType": source_type, "Software": f"ganjax {__version__}", **texts}


def xmp_packet(metadata: Mapping[str, str]) -> bytes:
    """`metadata` as an XMP packet: the source type in IPTC's namespace, the rest in ours."""
    attributes = []
    for name, value in metadata.items():
        prefix = {"DigitalSourceType": "Iptc4xmpExt", "Software": "xmp"}.get(name, "ganjax")
        key = "CreatorTool" if name == "Software" else name
        attributes.append(f"{prefix}:{key}={quoteattr(value)}")
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about=""'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        ' xmlns:ganjax="https://ganjax.dev/ns/1.0/"'
        f" {' '.join(attributes)}/>"
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()
