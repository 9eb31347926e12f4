"""Stage `report`: one page about the decision and its evidence."""
