"""Small made-up data sets in the layouts of the public ones, to try a spec or test a plugin without the real ones.

The pictures are noise. Each function fills a folder and returns it, as a reader's `path` expects it.
"""

from auxlearn_faces.testing.expressions import write_affectnet as write_affectnet
from auxlearn_faces.testing.expressions import write_affectnet_arrays as write_affectnet_arrays
from auxlearn_faces.testing.expressions import write_ck_plus as write_ck_plus
from auxlearn_faces.testing.expressions import write_fer2013 as write_fer2013
from auxlearn_faces.testing.expressions import write_ferplus as write_ferplus
from auxlearn_faces.testing.expressions import write_raf_db as write_raf_db
from auxlearn_faces.testing.people import write_adience as write_adience
from auxlearn_faces.testing.people import write_celeba as write_celeba
from auxlearn_faces.testing.people import write_fairface as write_fairface
from auxlearn_faces.testing.people import write_utkface as write_utkface
from auxlearn_faces.testing.pictures import write_picture as write_picture
from auxlearn_faces.testing.poses import write_300w_lp as write_300w_lp
from auxlearn_faces.testing.poses import write_aflw2000 as write_aflw2000
from auxlearn_faces.testing.poses import write_biwi as write_biwi

__all__ = [
    "write_300w_lp",
    "write_adience",
    "write_affectnet",
    "write_affectnet_arrays",
    "write_aflw2000",
    "write_biwi",
    "write_celeba",
    "write_ck_plus",
    "write_fairface",
    "write_fer2013",
    "write_ferplus",
    "write_picture",
    "write_raf_db",
    "write_utkface",
]
