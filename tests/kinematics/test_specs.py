def test_what_collides_is_drawn(arm):
    spec = arm.spec()
    colliding = [geom for geom in spec.geoms if geom.contype or geom.conaffinity]
    assert len(colliding) >= len(arm.joints)
    assert {geom.group for geom in colliding} <= {0, 1, 2}  # the groups that MuJoCo's renderer shows
