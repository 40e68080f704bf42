"""The dashboards, in the order in which they are listed."""

from dashboards import money, operations, orders, path, sales, stock

DASHBOARDS = (path.DASHBOARD, orders.DASHBOARD, sales.DASHBOARD, money.DASHBOARD, stock.DASHBOARD, operations.DASHBOARD)
