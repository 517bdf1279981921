"""By subject, one file per table or figure: ``make bench NAME=peers``. Not installed with the package."""
