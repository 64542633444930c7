"""The generator of the data set: needs the extra ``[generate]``."""
