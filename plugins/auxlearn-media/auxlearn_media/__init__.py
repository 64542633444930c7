"""Raw media for auxlearn: clips as data, also of public sets, and networks for video, text and sound as backbones.

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
from auxlearn_media.params import WordsParams as WordsParams
from auxlearn_media.provider import auxlearn_backbones as auxlearn_backbones
from auxlearn_media.provider import auxlearn_data_sources as auxlearn_data_sources
from auxlearn_media.readers.params import CaerParams as CaerParams
from auxlearn_media.readers.params import MeldParams as MeldParams
from auxlearn_media.readers.params import MoseiParams as MoseiParams
from auxlearn_media.readers.params import SetParams as SetParams
from auxlearn_media.readers.params import VoxCeleb2Params as VoxCeleb2Params

__all__ = [
    "AudioEncoderParams",
    "AudioParams",
    "CaerParams",
    "EncoderParams",
    "MediaParams",
    "MeldParams",
    "MoseiParams",
    "SetParams",
    "SpectrogramParams",
    "TextParams",
    "VideoNetworkParams",
    "VideoParams",
    "VoxCeleb2Params",
    "WordsParams",
    "auxlearn_backbones",
    "auxlearn_data_sources",
]
