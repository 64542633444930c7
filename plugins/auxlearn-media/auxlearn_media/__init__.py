"""Raw media for auxlearn: the data source `media`, and networks for video, text and sound as backbones.

What they say about a clip once and for all, `auxlearn extract` writes down. Importing this module loads no torch.
"""

from auxlearn_media.params import AudioEncoderParams as AudioEncoderParams
from auxlearn_media.params import AudioParams as AudioParams
from auxlearn_media.params import EncoderParams as EncoderParams
from auxlearn_media.params import MediaParams as MediaParams
from auxlearn_media.params import SpectrogramParams as SpectrogramParams
from auxlearn_media.params import TextParams as TextParams
from auxlearn_media.params import VideoNetworkParams as VideoNetworkParams
from auxlearn_media.params import VideoParams as VideoParams
from auxlearn_media.provider import auxlearn_backbones as auxlearn_backbones
from auxlearn_media.provider import auxlearn_data_sources as auxlearn_data_sources

__all__ = [
    "AudioEncoderParams",
    "AudioParams",
    "EncoderParams",
    "MediaParams",
    "SpectrogramParams",
    "TextParams",
    "VideoNetworkParams",
    "VideoParams",
    "auxlearn_backbones",
    "auxlearn_data_sources",
]
