"""Data sources for public sets of clips, each read as its authors distribute it.

`provider` and `params` say what there is and load no torch; each other module reads one data set. A folder that is
not what it should be gets one `DataError` with everything that is wrong (`layout`).
"""
