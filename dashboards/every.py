"""The dashboards, in the order in which they are listed."""

from dashboards import operations, orders, path, sales, stock

DASHBOARDS = (path.DASHBOARD, orders.DASHBOARD, sales.DASHBOARD, stock.DASHBOARD, operations.DASHBOARD)
