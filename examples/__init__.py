"""Models that people have, from a DataFrame to a model directory; `python -m examples.census`.

census          who earns much: strings, categories, gaps, one pipeline
houses          what a house costs: a regression by gradient boosting
credit          who pays back: missing values, a threshold that costs decide
reviews         what people think: texts
lightgbm_churn  who leaves: LightGBM on categories
xgboost_demand  how many bicycles: XGBoost, a regression
"""
