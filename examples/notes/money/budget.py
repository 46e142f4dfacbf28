"""Our monthly budget in euros; run it to see what is left."""

RENT = 1480
SERVICE_CHARGES = 165
ELECTRICITY = 96
GAS = 118
FOOD = 820
CAR = 240
PIANO = 78 + 32
CLUBS = 45
SAVINGS = 500

INCOME_LENA = 2310
INCOME_TOM = 2745


def left_over() -> int:
    """Return what is left of a month's income after all that is planned."""
    planned = RENT + SERVICE_CHARGES + ELECTRICITY + GAS + FOOD + CAR + PIANO + CLUBS + SAVINGS
    return INCOME_LENA + INCOME_TOM - planned


if __name__ == "__main__":
    print(f"left over each month: {left_over()} euros")
