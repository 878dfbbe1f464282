CREATE TABLE `sketches` (
	`day` integer NOT NULL,
	`subject` text NOT NULL,
	`metric` integer NOT NULL,
	`sketch` blob NOT NULL,
	PRIMARY KEY(`day`, `subject`, `metric`)
) WITHOUT ROWID;
